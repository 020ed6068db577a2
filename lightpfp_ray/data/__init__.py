"""From files to structures, edges and batches."""
