"""Issue 4's measures: what capture costs its writer, how quickly a peer applies, how far it lags."""
