"""Tables and figures on the runs of a grid."""
