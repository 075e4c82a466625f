-- The tables of the demo (examples/demo/src/scene.rs), in SQLite. A device does not get the CHECK, so it accepts a visit with
-- a score of 140, and the server rejects it.
CREATE TABLE places (
    id TEXT PRIMARY KEY NOT NULL, owner_id TEXT, name TEXT NOT NULL, country TEXT, latitude REAL, longitude REAL,
    population INTEGER, timezone TEXT, status TEXT, inspector TEXT,
    created_at DATETIME, updated_at DATETIME, deleted_at DATETIME);
CREATE TABLE visits (
    id TEXT PRIMARY KEY NOT NULL, place_id TEXT NOT NULL REFERENCES places (id), visited_at DATETIME, score INTEGER,
    created_at DATETIME, updated_at DATETIME, deleted_at DATETIME,
    CONSTRAINT score_is_a_percentage CHECK (score BETWEEN 0 AND 100));
CREATE TABLE notes (
    id TEXT PRIMARY KEY NOT NULL, visit_id TEXT NOT NULL REFERENCES visits (id), body TEXT,
    created_at DATETIME, updated_at DATETIME, deleted_at DATETIME);
CREATE TABLE parts (
    id TEXT PRIMARY KEY NOT NULL, owner_id TEXT, name TEXT NOT NULL, stock INTEGER,
    created_at DATETIME, updated_at DATETIME, deleted_at DATETIME);
