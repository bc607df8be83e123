def text_table(results): return ""
