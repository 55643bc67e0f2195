//! What the tests share: a real server, a real receiver of callbacks.
