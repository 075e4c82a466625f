//! One test function, one test per store: `push::a_test::sqlite`, `::postgres`, `::postgres_rls`
//! and `::postgres_pooled`.
//!
//! The function's argument is made from a [`Backend`](crate::world::Backend). A test with
//! `postgres` in its name fails without PostgreSQL; it never runs over SQLite instead.

macro_rules! per_store {
    ([$($store:ident $backend:ident),+] $runtime:tt
     $(#[$meta:meta])* async fn $test:ident $arguments:tt $body:block) => {
        $(#[$meta])*
        async fn $test $arguments $body

        mod $test {
            $(#[tokio::test $runtime]
            async fn $store() {
                super::$test(crate::world::Backend::$backend.into()).await;
            })+
        }
    };
    ([$($store:ident $backend:ident),+] $runtime:tt
     $(#[$meta:meta])* fn $test:ident $arguments:tt $body:block) => {
        $(#[$meta])*
        fn $test $arguments $body

        mod $test {
            $(#[test]
            fn $store() {
                super::$test(crate::world::Backend::$backend.into());
            })+
        }
    };
}

/// SQLite and PostgreSQL.
macro_rules! stores {
    ($($item:tt)*) => {
        per_store! { [sqlite Sqlite, postgres Postgres] () $($item)* }
    };
}

/// The same, and PostgreSQL through a PgBouncer.
macro_rules! pooled_stores {
    ($($item:tt)*) => {
        per_store! {
            [sqlite Sqlite, postgres Postgres, postgres_pooled PostgresPooled] () $($item)*
        }
    };
}

/// SQLite and PostgreSQL, on a multi-threaded runtime.
macro_rules! parallel_stores {
    ($($item:tt)*) => {
        per_store! { [sqlite Sqlite, postgres Postgres] (flavor = "multi_thread") $($item)* }
    };
}

/// SQLite, PostgreSQL, and PostgreSQL with row level security.
macro_rules! secured_stores {
    ($($item:tt)*) => {
        per_store! { [sqlite Sqlite, postgres Postgres, postgres_rls PostgresRls] () $($item)* }
    };
}

/// PostgreSQL without and with row level security.
macro_rules! postgres_stores {
    ($($item:tt)*) => {
        per_store! { [postgres Postgres, postgres_rls PostgresRls] () $($item)* }
    };
}
