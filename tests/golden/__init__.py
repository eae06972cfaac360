"""What the product answers today, in files: a change that should change no answer is judged by them."""
