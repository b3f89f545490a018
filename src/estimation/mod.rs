//! Usage to size: estimators and their parts.
