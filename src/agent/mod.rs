//! What runs beside tasks on a node.
