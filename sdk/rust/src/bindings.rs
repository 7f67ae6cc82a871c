//! The contract's bindings, generated from `wit/` when the crate is built for a guest.

wit_bindgen::generate!({
    path: "../../wit",
    world: "task-with-wasi-http",
    generate_all,
    pub_export_macro: true,
    export_macro_name: "export_task",
    default_bindings_module: "lovage::bindings",
});
