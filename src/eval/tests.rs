//! Evaluation over small worlds, interrupted and resumed.
