//! What runs inside an executor: wasmtime, one fresh instance an attempt.
