//! Requests that this server makes: HTTPS with bounds on size and time.
