"""Issue 4's measures: what capture costs, how quickly a peer applies, how far it lags."""
