//! Tests of the value codec, one row per case.

use rejoin_protocol::{
    ColumnKind::{self, *},
    Value::{self, Blob, Integer, Null, Real},
    codec, equal,
};

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn written(value: &Value, kind: ColumnKind) -> Option<std::string::String> {
    let mut out = std::string::String::from("before,");
    if codec::encode(value, kind, &mut out).is_ok() {
        return out.strip_prefix("before,").map(str::to_owned);
    }
    assert_eq!(out, "before,", "a refused value was partly appended: {value:?}");
    None
}

const KINDS: [ColumnKind; 12] =
    [String, Int, Int64, Float, Numeric, Boolean, Datetime, Date, Time, Json, Array, Bytes];

#[test]
fn each_kind_has_one_encoding_per_storage_class() {
    // The value, then the text for each of KINDS; `None` is refused.
    type Line = (Value, [Option<&'static str>; 12]);
    let s = Some;
    let n = None;
    #[rustfmt::skip]
    let table: Vec<Line> = vec![
        (Null, [s("null"); 12]),
        (Integer(0), [s("\"0\""), s("0"), s("0"), s("0"), s("\"0\""), s("false"), s("\"0\""), s("\"0\""), s("\"0\""), s("\"0\""), s("\"0\""), n]),
        (Integer(1), [s("\"1\""), s("1"), s("1"), s("1"), s("\"1\""), s("true"), s("\"1\""), s("\"1\""), s("\"1\""), s("\"1\""), s("\"1\""), n]),
        (Real(0.5), [s("\"0.5\""), n, n, s("0.5"), s("\"0.5\""), n, s("\"0.5\""), s("\"0.5\""), s("\"0.5\""), s("\"0.5\""), s("\"0.5\""), n]),
        (Real(2.0), [s("\"2.0\""), s("2"), s("2"), s("2.0"), s("\"2.0\""), s("2"), s("\"2.0\""), s("\"2.0\""), s("\"2.0\""), s("\"2.0\""), s("\"2.0\""), n]),
        (Real(f64::NAN), [n; 12]),
        (Real(f64::INFINITY), [n; 12]),
        (Real(f64::NEG_INFINITY), [n; 12]),
        (text(""), [s("\"\""), n, n, n, s("\"\""), n, s("\"\""), s("\"\""), s("\"\""), s("\"\""), s("\"\""), s("\"\"")]),
        (text("7"), [s("\"7\""), s("7"), s("7"), s("7"), s("\"7\""), s("7"), s("\"7\""), s("\"7\""), s("\"7\""), s("\"7\""), s("\"7\""), s("\"Nw==\"")]),
        (text("a\0b"), [n, n, n, n, n, n, n, n, n, n, n, s("\"YQBi\"")]),
        (Blob(vec![]), [n, n, n, n, n, n, n, n, n, n, n, s("\"\"")]),
        (Blob(vec![0, 255, 16]), [n, n, n, n, n, n, n, n, n, n, n, s("\"AP8Q\"")]),
    ];
    for (value, expected) in table {
        for (kind, expected) in KINDS.into_iter().zip(expected) {
            assert_eq!(written(&value, kind).as_deref(), expected, "{value:?} as {kind:?}");
            assert_eq!(
                codec::check(&value, kind).is_ok(),
                expected.is_some(),
                "{value:?} {kind:?}"
            );
        }
    }
}

#[test]
fn exact_values_round_trip_without_loss() {
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    #[rustfmt::skip]
    let table = [
        (Integer(i64::MAX), Int64, "9223372036854775807".to_owned()),
        (Integer(i64::MIN), Int64, "-9223372036854775808".to_owned()),
        (Integer(9_007_199_254_740_993), Int64, "9007199254740993".to_owned()),
        (Integer(-9_007_199_254_740_993), Int, "-9007199254740993".to_owned()),
        (Integer(2), Boolean, "2".to_owned()),
        (Real(-0.0), Float, "-0.0".to_owned()),
        (Real(5e-324), Float, "5e-324".to_owned()),
        (Real(2.225_073_858_507_201e-308), Float, "2.225073858507201e-308".to_owned()),
        (Real(f64::MAX), Float, "1.7976931348623157e+308".to_owned()),
        (Real(0.1), Float, "0.1".to_owned()),
        (Real(1e16), Float, "1e+16".to_owned()),
        (text("1.50"), Numeric, quoted("1.50")),
        (text("1.5"), Numeric, quoted("1.5")),
        (text("12345678901234567890.123456789"), Numeric, quoted("12345678901234567890.123456789")),
        (text("NaN"), Numeric, quoted("NaN")),
        (text("B\u{e4}ckerei \u{1f35e} \u{2028}"), String, quoted("B\u{e4}ckerei \u{1f35e} \u{2028}")),
        (text("a\"b\\c\n\r\t\u{1}\u{8}\u{7f}"), String, "\"a\\\"b\\\\c\\n\\r\\t\\u0001\\u0008\u{7f}\"".to_owned()),
        (text("{\"a\": 1}"), Json, quoted("{\"a\": 1}")),
        (text("[1,2]"), Array, quoted("[1,2]")),
        (text("2026-11-20"), Date, quoted("2026-11-20")),
        (text("09:30:00.5"), Time, quoted("09:30:00.5")),
        (text("2026-11-20T06:41:50.896045Z"), Datetime, quoted("2026-11-20T06:41:50.896045Z")),
        (text("infinity"), Datetime, quoted("infinity")),
        (text("10000-01-01T00:00:00Z"), Datetime, quoted("10000-01-01T00:00:00Z")),
        (Blob((0..=255).collect()), Bytes, {
            use base64::Engine as _;
            quoted(&base64::engine::general_purpose::STANDARD.encode((0..=255).collect::<Vec<u8>>()))
        }),
    ];
    for (value, kind, json) in table {
        assert_eq!(written(&value, kind).as_deref(), Some(json.as_str()), "{value:?} {kind:?}");
        let read = codec::decode(&json, kind).unwrap();
        assert_eq!(read, value, "{json} as {kind:?}");
        if let (Real(read), Real(value)) = (&read, &value) {
            assert_eq!(read.to_bits(), value.to_bits(), "{json}");
        }
    }
}

#[test]
fn instants_are_decoded_unchanged_and_encoded_canonically() {
    let canonical = Some("\"2026-11-20T08:00:00.000000Z\"".to_owned());
    for form in ["2026-11-20 08:00:00", "2026-11-20T09:00:00+01:00", "2026-11-20T08:00:00Z"] {
        assert_eq!(written(&text(form), Datetime), canonical);
        assert_eq!(codec::decode(&format!("\"{form}\""), Datetime).unwrap(), text(form));
    }
}

#[test]
fn plain_peer_encodings_are_decoded_by_kind() {
    #[rustfmt::skip]
    let table: Vec<(&str, ColumnKind, Option<Value>)> = vec![
        ("null", Int64, Some(Null)),
        (" 7 ", Int64, Some(Integer(7))),
        ("7.0", Int64, Some(Integer(7))),
        ("1e3", Int64, Some(Integer(1000))),
        ("-0", Int64, Some(Integer(0))),
        ("9007199254740993.0", Int64, Some(Integer(9_007_199_254_740_993))),
        ("9223372036854775808", Int64, None),
        ("-9223372036854775809", Int64, None),
        ("1e400", Int64, None),
        ("1.5", Int64, None),
        ("\"9007199254740993\"", Int64, Some(Integer(9_007_199_254_740_993))),
        ("\"1.0\"", Int64, None),
        ("true", Int64, Some(Integer(1))),
        ("true", Boolean, Some(Integer(1))),
        ("\"f\"", Boolean, Some(Integer(0))),
        ("\"yes\"", Boolean, None),
        ("0", Boolean, Some(Integer(0))),
        ("3", Float, Some(Real(3.0))),
        ("\"2.5\"", Float, Some(Real(2.5))),
        ("1e999", Float, None),
        ("\"NaN\"", Float, None),
        ("true", Float, None),
        ("12345678901234567890.5", Numeric, Some(text("12345678901234567890.5"))),
        ("1.50", Numeric, Some(text("1.50"))),
        ("5", String, Some(text("5"))),
        ("false", String, Some(text("false"))),
        ("\"\\u00e4\\ud83c\\udf5e\"", String, Some(text("\u{e4}\u{1f35e}"))),
        ("\"a\\/b\"", String, Some(text("a/b"))),
        ("\"a\\u0000\"", String, None),
        ("\"\\ud800\"", String, None),
        ("[1]", String, None),
        ("{\"a\": [1, \"]\"]}", Json, Some(text("{\"a\": [1, \"]\"]}"))),
        ("{\"a\": [1, \"]\"]}", Int64, None),
        ("[\"x\",\"y\"]", Array, Some(text("[\"x\",\"y\"]"))),
        ("true", Json, Some(text("true"))),
        ("1.0", Json, Some(text("1.0"))),
        ("\"\\\\x41503851\"", Bytes, Some(Blob(b"AP8Q".to_vec()))),
        ("\"\\\\x415\"", Bytes, None),
        ("\"\\\\xzz\"", Bytes, None),
        ("\"AP8Q\"", Bytes, Some(Blob(vec![0, 255, 16]))),
        ("\"AP8\"", Bytes, None),
        ("\"A=\"", Bytes, None),
        ("1", Bytes, None),
        ("2000000000000", Datetime, Some(text("2000000000000"))),
    ];
    for (raw, kind, expected) in table {
        assert_eq!(codec::decode(raw, kind).ok(), expected, "{raw} as {kind:?}");
    }
}

#[test]
fn invalid_json_is_refused_for_every_kind() {
    #[rustfmt::skip]
    let broken = [
        "", " ", "nul", "nulls", "True", "t", "NaN", "Infinity", "-", "+1", "01", "1.", ".5", "1e", "0x10", "\"", "\"a",
        "\"a\"b", "\"a\"\"", "'a'", "{", "[", "[1", "{\"a\":}", "[1]2", "\"a\nb\"", "\"\\q\"", "1 2", "\u{ff11}",
    ];
    for raw in broken {
        for kind in KINDS {
            assert!(codec::decode(raw, kind).is_err(), "{raw} as {kind:?}");
        }
    }
}

#[test]
fn plain_peers_get_inline_json_numbers_and_hex_bytes() {
    #[rustfmt::skip]
    let table = [
        (text("{\"a\":1}"), Json, "{\"a\":1}"),
        (text("[1,2]"), Array, "[1,2]"),
        (text("{broken"), Json, "\"{broken\""),
        (text("1.50"), Numeric, "1.50"),
        (text("NaN"), Numeric, "\"NaN\""),
        (Real(9.5), Numeric, "9.5"),
        (Integer(-7), Numeric, "-7"),
        (Integer(9_007_199_254_740_993), Int64, "9007199254740993"),
        (Integer(1), Boolean, "true"),
        (Blob(vec![0, 255, 16]), Bytes, "\"\\\\x00ff10\""),
    ];
    for (value, kind, expected) in table {
        let mut out = std::string::String::new();
        codec::encode_plain(&value, kind, &mut out).unwrap();
        assert_eq!(out, expected);
    }
}

#[test]
fn encoded_value_decodes_as_an_equal_value() {
    let mut random = fastrand::Rng::with_seed(11);
    let mut taken = 0;
    for _ in 0..50_000 {
        let value = any_value(&mut random);
        let kind = KINDS[random.usize(0..KINDS.len())];
        let Some(json) = written(&value, kind) else { continue };
        taken += 1;
        let read = codec::decode(&json, kind).unwrap();
        assert!(equal::equal(&read, &value, kind), "{value:?} as {kind:?} is {json} is {read:?}");
    }
    assert!(taken > 30_000, "{taken}");
}

fn any_value(random: &mut fastrand::Rng) -> Value {
    const TEXTS: [&str; 10] = [
        "",
        "7",
        "-3.50",
        "2026-11-20 08:00",
        "{\"b\":1,\"a\":[]}",
        "[1]",
        "tr\u{fc}e",
        "true",
        "\"\\\n",
        "1e3",
    ];
    match random.u8(0..6) {
        0 => Null,
        1 => Integer(random.i64(..) >> random.u8(0..64)),
        2 => Real(f64::from_bits(random.u64(..))),
        3 => text(TEXTS[random.usize(0..TEXTS.len())]),
        4 => Value::Text((0..random.usize(0..9)).map(|_| random.char(..)).collect()),
        _ => Blob((0..random.usize(0..9)).map(|_| random.u8(..)).collect()),
    }
}
