"""Examples and counts of a source for its page, so that the page needs neither the media nor the tables.

    sheets.json   see below
    *.jpg         thumbnails of whole upright frames, at most 256 pixels a side; of a clip three frames side by side

``sheets.json``::

    {
      "source": "cats", "kind": "sidecar", "path": "/data/cats",
      "counts": {"items": 90, "rows": 180, "rejected": {"blurred": 3},                    # as in manifest.json
                 "splits": {"train": 170, ...}, "buckets": {"5x32x32": {"train": 170, ...}}},
      "histograms": {name: [[value, rows], ...]},             # exact values in rising order, or bins named by their lower end
          # "seconds"             of a row's window on the clock, in tenths; rows of images and of media without a rate are absent
          # "source_pixels"       "WIDTHxHEIGHT" of the upright source
          # "source_fps"          frames per second, rounded to hundredths; 0.0 where the media name none
          # "source_frames"       frames of the source
          # "caption_characters"  of every caption of a row, in tens
          # "caption_words"       of every caption of a row
          # "captions_per_row"
      "words": [["cat", 120], ...],                           # the 200 most frequent of the captions, lower case
      "rows": [                                               # up to 24 a bucket, the ones with the smallest ids
        {"id": "...", "item": "a", "locator": "a.mp4", "medium": "clip", "split": "train", "bucket": [5, 32, 32],
         "picture": "1a2b.jpg" | null,                        # null: there is no picture (prompts)
         "tile": [256, 144], "tiles": 3,                      # size of each thumbnail in the picture, and how many
         "frames": [0, 4, 8],                                 # source frame in each tile
         "size": [1280, 720], "crop": [280, 0, 1000, 720],    # of the source, and what is taken, in its pixels
         "flip": false, "seconds": 0.3 | null, "source_frames": 120, "source_fps": 29.97,
         "captions": ["..."], "weights": [1.0], "attributes": "{}"}
      ],
      "rejected": [                                           # up to 6 a reason
        {"locator": "b.jpg", "reason": "blurred", "detail": "...", "picture": "3c4d.jpg" | null,
         "tile": [256, 144] | null, "tiles": 1 | 0}
      ]
    }
"""
