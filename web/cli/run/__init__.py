"""`bgeraser run`: one tool on many files, on this machine or through the API.

command                the options, what they mean together, and the exit status
parameters             the tool and its parameters, checked before any work
inputs, watching       the pictures to process
outputs                names of results, and writing them
pipeline               several pictures at a time, from file to file
local, remote          the two runners
streams                stdin and stdout, which may be closed or full
signals                Ctrl-C and SIGTERM
reporting              progress, failures and JSON lines
"""
