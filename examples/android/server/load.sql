-- The places of the demo, for the user `inspectors`. GeoNames, CC BY 4.0: examples/demo/data/ATTRIBUTION.md.
-- For the program sqlite3, in this folder.
.mode csv
CREATE TEMP TABLE csv (geonameid TEXT, name TEXT, country TEXT, latitude REAL, longitude REAL, population INTEGER, timezone TEXT);
.import --schema temp --skip 1 ../../demo/data/places.csv csv
INSERT INTO places (id, owner_id, name, country, latitude, longitude, population, timezone, status)
    SELECT 'geo-' || geonameid, 'inspectors', name, country, latitude, longitude, population, timezone, 'open' FROM csv;
