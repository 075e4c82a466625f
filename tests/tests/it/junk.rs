//! Responses that are changed on their way.

use rejoin_core::sync::session::Response;
use serde_json::Value;

pub(crate) fn changed(response: &Response, change: impl FnOnce(&mut Value)) -> Response {
    let mut json: Value = serde_json::from_slice(&response.body).expect("our servers send JSON");
    change(&mut json);
    Response { body: json.to_string().into(), ..response.clone() }
}

/// The response with `value` at one of its places, chosen by any number.
pub(crate) fn twisted(response: &Response, place: usize, value: Value) -> Response {
    changed(response, |json| {
        let mut places = Vec::new();
        collect(json, "", &mut places);
        if let Some(found) = json.pointer_mut(&places[place % places.len()]) {
            *found = value;
        }
    })
}

/// The response with one of its lists, chosen by any number, shorter, longer or in another order.
pub(crate) fn bent(response: &Response, place: usize, how: u8) -> Response {
    changed(response, |json| {
        let mut places = Vec::new();
        collect(json, "", &mut places);
        places.retain(|place| {
            json.pointer(place)
                .is_some_and(|found| found.as_array().is_some_and(|list| !list.is_empty()))
        });
        let Some(place) = places.get(place % places.len().max(1)) else { return };
        let Some(Value::Array(list)) = json.pointer_mut(place) else { return };
        match how % 4 {
            0 => drop(list.pop()),
            1 => list.extend(list.first().cloned()),
            2 => list.reverse(),
            _ => list.clear(),
        }
    })
}

/// The places of a document, as pointers.
fn collect(json: &Value, at: &str, places: &mut Vec<String>) {
    places.push(at.to_owned());
    match json {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, &format!("{at}/{index}"), places);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                collect(member, &format!("{at}/{name}"), places);
            }
        }
        _ => {}
    }
}
