"""Read-outs beside binding information, a package each; none of them knows another one or the engine."""
