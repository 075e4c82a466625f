//! Output of the demo: headings, tables, a progress bar, claim results.

use std::io::{IsTerminal, Write, stdout};

/// Prints the output of the demo.
#[derive(Debug)]
pub(crate) struct Teller {
    colour: bool,
    pause: std::time::Duration,
}

impl Teller {
    /// Uses colours only on a terminal, and not if `NO_COLOR` is set.
    pub(crate) fn new(pause: std::time::Duration) -> Self {
        let colour = stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        Self { colour, pause }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// Prints the title of a chapter.
    pub(crate) fn chapter(&self, title: &str) {
        std::thread::sleep(self.pause);
        println!("\n{}", self.paint("1", &format!("== {title}")));
    }

    /// Prints a line.
    pub(crate) fn say(&self, text: &str) {
        println!("   {text}");
    }

    /// Prints a claim that holds.
    pub(crate) fn holds(&self, number: usize, claim: &str) {
        println!("   {} {number:>2}. {claim}", self.paint("32", "[ok]"));
    }

    /// Prints a claim that failed, and what was found.
    pub(crate) fn broken(&self, number: usize, claim: &str, found: &str) {
        println!("   {} {number:>2}. {claim}\n            {found}", self.paint("31", "[BROKEN]"));
    }

    /// Prints a table.
    pub(crate) fn table(&self, title: &str, header: &[&str], rows: &[Vec<String>]) {
        let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
        for row in rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).map(|(cell, width)| {
                format!("{cell}{}", " ".repeat(width.saturating_sub(cell.chars().count())))
            });
            padded.collect::<Vec<_>>().join("  ")
        };
        println!("   {title}");
        let header: Vec<String> = header.iter().map(|cell| (*cell).to_owned()).collect();
        println!("     {}", self.paint("2", line(&header).trim_end()));
        for row in rows {
            println!("     {}", line(row).trim_end());
        }
    }

    /// Redraws the progress bar on a terminal; otherwise prints only its final state.
    pub(crate) fn progress(&self, who: &str, done: u64, total: u64, rate: f64, finished: bool) {
        let filled = usize::try_from(done * 24 / total.max(1)).unwrap_or(24).min(24);
        let bar = format!("{}{}", "#".repeat(filled), ".".repeat(24 - filled));
        let text = format!("   {who:<7} [{bar}] {done:>6}/{total} rows  {rate:>9.0} rows/s");
        if stdout().is_terminal() {
            print!("\r{text}");
            if finished {
                println!();
            }
        } else if finished {
            println!("{text}");
        }
        let _ = stdout().flush();
    }
}
