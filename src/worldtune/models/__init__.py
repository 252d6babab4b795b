"""Networks and tokenizers: tensors in, tensors out, in one process on any device."""
