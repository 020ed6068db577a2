"""The zoo: potentials that were trained for many elements, by name, and what they were made of."""
