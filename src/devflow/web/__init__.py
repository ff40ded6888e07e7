"""The pages: server-rendered, on services and selectors only."""
