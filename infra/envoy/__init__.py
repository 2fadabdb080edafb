"""The edge: Envoy, fed from the map folders of the regions through files."""
