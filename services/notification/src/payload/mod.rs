//! What is told: the catalogue of event types, which messages an event makes, and their bodies.
