"""Files with which other programs watch inferd: Prometheus, Grafana, compose, shippers of logs."""
