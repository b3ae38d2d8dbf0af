-- Where a route leads that has a built-in router in place of a script: the dispatch namespace, and how, as JSON.
ALTER TABLE routes ADD COLUMN namespace INTEGER REFERENCES namespaces (key) ON DELETE CASCADE;
ALTER TABLE routes ADD COLUMN router TEXT;
CREATE INDEX routes_namespace ON routes (namespace);
