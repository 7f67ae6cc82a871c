//! Brokers: where deliveries come from and follow-ups go.
