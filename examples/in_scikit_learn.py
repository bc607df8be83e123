"""AOS as a scikit-learn classifier: choose eps and tau by cross-validation."""

import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, train_test_split

import underdog as ud

x, y = load_digits(return_X_y=True)
x, x_test, y, y_test = train_test_split(x, y, test_size=0.3, stratify=y, random_state=0)
rare = np.isin(y, [1, 3, 5, 7, 8, 9])
keep = ~rare | (np.random.default_rng(0).random(len(y)) < 0.1)  # a tenth of six digits

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 50
classifier = ud.AOSClassifier(image_shape=(8, 8), bounds=(0, 16), epochs=epochs, random_state=0)
grid = {"eps": [8 / 255, 32 / 255], "tau": [0.4, 0.8]}
search = GridSearchCV(classifier, grid, scoring="f1_macro", cv=3).fit(x[keep], y[keep])
print(search.best_params_)
print(f"macro-F1 {f1_score(y_test, search.predict(x_test), average='macro'):.3f}")
