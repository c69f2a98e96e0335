//! The promises, shown with real binaries in namespaces.
