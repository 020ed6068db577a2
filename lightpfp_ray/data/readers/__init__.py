"""One small file a format. A reader is `read(path, part, keys)`, an iterator of structures.

`part` is (start, count): where some structures begin, in whatever unit the format's `parts` counts,
and how many there are; None is the whole file. `parts(path, size)` cuts a file without reading its
numbers and gives (start, count, number of the first structure).
"""
