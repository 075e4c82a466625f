//! Ids of rows that actions make, where a function of the app says what tells them apart.

use rejoin_ffi::{ActionFault, RejoinError};

use crate::actions::{code, definition, home, perform};

#[test]
fn ids_of_rows_are_made_of_all_that_a_projection_made() {
    let home = home(|actions| {
        let handler = |rows: [&'static str; 2]| {
            code(move |context, _| async move {
                let mut ids = Vec::new();
                for row in rows {
                    ids.push(context.row_id("Task".to_owned(), row.to_owned()).await?);
                }
                Ok(format!("{ids:?}"))
            })
        };
        actions.identity("task".to_owned(), vec!["by".to_owned()]);
        actions.projection("TASK".to_owned());
        let apart = [r#"{"day": "mon", "by": 1}"#, r#"{"day": "tue", "by": 1}"#];
        actions.handler(definition("apart", &[]), handler(apart));
        let same = [r#"{"day": "mon", "by": 1}"#, r#"{"by": 1, "day": "mon"}"#];
        actions.handler(definition("same", &[]), handler(same));
    });
    let ids: Vec<String> =
        serde_json::from_str(&perform(&home, "apart", "").unwrap().value_json).unwrap();
    assert!(ids.len() == 2 && ids[0] != ids[1], "{ids:?}");
    let error = perform(&home, "same", "").unwrap_err();
    assert!(matches!(&error, RejoinError::Action { fault: ActionFault::SameRow, .. }), "{error:?}");
}
