"""The dashboards, each a `Page` of plain data, and what makes Grafana's JSON of it."""
