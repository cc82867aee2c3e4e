"""What everything stands on: errors, geometry, nouns, records, files."""
