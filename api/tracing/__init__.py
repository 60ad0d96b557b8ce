"""Traces for an OpenTelemetry collector. Imported only when `BGERASER_OTLP_ENDPOINT` is set."""
