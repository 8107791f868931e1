"""What programs ask: queries, streams, exports, and their description as OpenAPI."""
