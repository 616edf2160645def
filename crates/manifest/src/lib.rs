//! YAML and JSON to objects, with source spans, API-server validation and cases.
