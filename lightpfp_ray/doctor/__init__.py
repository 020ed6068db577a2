"""What is wrong with labelled structures, before a training spends an hour on them.

`examine` looks at every structure of files; `brief` at a prepared set, in a few seconds, once for a
cache (`kept`).
"""
