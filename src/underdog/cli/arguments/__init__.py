"""What the command line accepts: imported before anything heavy is."""
