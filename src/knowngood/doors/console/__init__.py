"""The console: pages that are made here, from the documents of docs/json.md, and sent as they are."""
