//! The places of the demo: real data from GeoNames, CC BY 4.0 (`data/ATTRIBUTION.md`).

use anyhow::{Context, Result};

use crate::site::Site;

const CSV: &str = include_str!("../data/places.csv");

/// One line of the file.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    /// `geo-` and the GeoNames number.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) country: String,
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
    pub(crate) population: i64,
    pub(crate) timezone: String,
}

/// All places of the file, in file order.
pub(crate) fn all() -> Result<Vec<Place>> {
    CSV.lines()
        .skip(1)
        .map(|line| parse(line).with_context(|| format!("places.csv: not a place: {line}")))
        .collect()
}

fn parse(line: &str) -> Option<Place> {
    let mut cells = cells(line).into_iter();
    Some(Place {
        id: format!("geo-{}", cells.next()?),
        name: cells.next()?,
        country: cells.next()?,
        latitude: cells.next()?.parse().ok()?,
        longitude: cells.next()?.parse().ok()?,
        population: cells.next()?.parse().ok()?,
        timezone: cells.next()?,
    })
}

/// Splits a line of CSV into cells; a quoted cell may contain commas and doubled quotes.
fn cells(line: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cells.last_mut().into_iter().for_each(|cell| cell.push('"'));
            }
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            other => cells.last_mut().into_iter().for_each(|cell| cell.push(other)),
        }
    }
    cells
}

/// Inserts all places into the server's table with plain SQL.
pub(crate) fn fill(server: &Site, owner: &str) -> Result<usize> {
    let places = all()?;
    let text = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let row = |place: &Place| {
        format!(
            "({}, {}, {}, {}, {}, {}, {}, {}, 'open')",
            text(&place.id),
            text(owner),
            text(&place.name),
            text(&place.country),
            place.latitude,
            place.longitude,
            place.population,
            text(&place.timezone)
        )
    };
    let rows: Vec<String> = places.iter().map(row).collect();
    server.run(&format!(
        "INSERT INTO places (id, owner_id, name, country, latitude, longitude, population, timezone, status) VALUES {}",
        rows.join(", ")
    ))?;
    Ok(places.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_has_at_least_2000_places_with_unique_ids() {
        let places = all().unwrap();
        assert!(places.len() >= 2_000, "{}", places.len());
        let ids: std::collections::HashSet<_> = places.iter().map(|place| &place.id).collect();
        assert_eq!(ids.len(), places.len());
    }

    #[test]
    fn quoted_cell_keeps_commas_and_quotes() {
        assert_eq!(cells(r#"1,"Bonn, Stadt",x"#), ["1", "Bonn, Stadt", "x"]);
        assert_eq!(cells(r#""say ""hi""",2"#), [r#"say "hi""#, "2"]);
    }
}
