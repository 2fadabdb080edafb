"""The links between regions: a proxy that can delay, cut and swallow what goes over them."""
