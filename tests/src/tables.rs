//! The test tables: places, and visits to them.

/// The server's tables. `places.score` has a CHECK that the manifest does not carry; `visits`
/// belong to a place.
pub const SERVER: &str = "
    CREATE TABLE places (
        id TEXT PRIMARY KEY, name TEXT NOT NULL, note TEXT,
        score INTEGER CHECK (score BETWEEN 0 AND 5),
        user_id TEXT NOT NULL, created_at TEXT, updated_at TEXT, deleted_at TEXT
    );
    CREATE TABLE visits (
        id TEXT PRIMARY KEY, place_id TEXT NOT NULL REFERENCES places (id), day TEXT,
        created_at TEXT, updated_at TEXT, deleted_at TEXT
    );
";

/// An audit table that triggers on the server fill: a change that is applied twice appears in it
/// twice.
pub const BOOK: &str = "
    CREATE TABLE book (name TEXT, what TEXT);
    CREATE TRIGGER book_places AFTER INSERT ON places WHEN new.name = new.id
        BEGIN INSERT INTO book VALUES (new.id, 'place'); END;
    CREATE TRIGGER book_notes AFTER UPDATE OF note ON places WHEN new.note IS NOT old.note
        BEGIN INSERT INTO book VALUES (new.note, 'note'); END;
    CREATE TRIGGER book_visits AFTER INSERT ON visits
        BEGIN INSERT INTO book VALUES (new.id, 'visit'); END;
    WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 130)
        INSERT INTO places (id, name, user_id) SELECT 'server ' || i, 'Place', 'ana' FROM n;
";
