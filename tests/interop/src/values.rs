//! Values that are often changed in conversion: extremes, subnormals, whole reals, empty and large
//! values, rare Unicode.
//!
//! Negative zero is excluded, because SQLite does not store it in a column.

use rejoin_protocol::Value;
use rejoin_story_server::cell;
use serde_json::Value as Json;

/// A row of the table `sample`: number, measure, label, data.
pub(crate) type Sample = [Json; 4];

/// The rows that every device writes.
pub(crate) fn samples() -> Vec<Sample> {
    let (numbers, reals, texts, blobs) = (integers(), reals(), texts(), blobs());
    let most = numbers.len().max(reals.len()).max(texts.len()).max(blobs.len());
    let sample = |at: usize| {
        [
            cell::exact(&numbers[at % numbers.len()]),
            cell::exact(&reals[at % reals.len()]),
            cell::exact(&texts[at % texts.len()]),
            cell::exact(&blobs[at % blobs.len()]),
        ]
    };
    (0..most).map(sample).collect()
}

fn integers() -> Vec<Value> {
    let beyond_a_double = (1 << 53) + 1;
    let numbers = [
        i64::MIN,
        i64::MAX,
        0,
        -1,
        beyond_a_double,
        -beyond_a_double,
        i64::from(i8::MIN) - 1,
        i64::from(u8::MAX),
        i64::from(i16::MAX) + 1,
        i64::from(i32::MIN),
        i64::from(i32::MIN) - 1,
    ];
    numbers.into_iter().map(Value::Integer).chain([Value::Null]).collect()
}

fn reals() -> Vec<Value> {
    let numbers = [
        0.1,
        1.0,
        -1.5,
        5e-324,
        f64::MAX,
        f64::MIN_POSITIVE,
        -2.225_073_858_507_201e-308,
        1e300,
        9_007_199_254_740_993.0,
        0.1 + 0.2,
    ];
    numbers.into_iter().map(Value::Real).chain([Value::Null]).collect()
}

fn texts() -> Vec<Value> {
    let texts = [
        String::new(),
        "plain".to_owned(),
        "\u{1f469}\u{200d}\u{1f680} \u{10ffff}".to_owned(),
        "e\u{301} is not \u{e9}".to_owned(),
        "\u{feff}begins with a mark".to_owned(),
        "\u{202e}backwards \u{fffd} \u{fffe}".to_owned(),
        "lines\r\n\t\"quotes\" \\ and \u{7f}\u{85}\u{2028}".to_owned(),
        "null".to_owned(),
        "1e5".to_owned(),
        "\u{4e2d}".repeat(5_000),
    ];
    texts.into_iter().map(Value::Text).chain([Value::Null]).collect()
}

fn blobs() -> Vec<Value> {
    let every = || 0..=u8::MAX;
    let blobs = [
        Vec::new(),
        vec![0],
        vec![0xff, 0xfe, 0xc0, 0x80],
        every().collect(),
        every().cycle().take(70_000).collect(),
        b"plain".to_vec(),
    ];
    blobs.into_iter().map(Value::Blob).chain([Value::Null]).collect()
}
