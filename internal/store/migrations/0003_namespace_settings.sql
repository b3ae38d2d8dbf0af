-- What an operator sets for all Workers of a dispatch namespace; NULL: nothing.
ALTER TABLE namespaces ADD COLUMN settings TEXT;
