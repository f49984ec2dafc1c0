"""The least that inferd's design needs: a completion queue, shared slots and one worker process.

One model, one input, no checks, no deadlines, no statistics, no errors: what inferd's request
path would cost if a request needed nothing but to be carried. The distance to it is the price of
everything else.
"""
