//! The HTTP client of the tests.

/// A client that goes straight to the address that it is given.
pub(crate) fn client() -> reqwest::ClientBuilder {
    // Installed before, by whoever came first: that is no error.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy()
}
