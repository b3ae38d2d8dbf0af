-- The outbound Worker, with parameters, of the dispatch by which a script with Durable Objects was called last; NULL: none. What
-- the objects do by themselves, in alarms, goes by it too.
ALTER TABLE scripts ADD COLUMN outbound TEXT;
