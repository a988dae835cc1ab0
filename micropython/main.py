"""What the board's firmware runs after boot.py: the application, and a new start when that crashes.

A file of source in the root of the file system, as boot.py is; the application lies in a slot. Ctrl-C ends it
and leads to the console.
"""

import crashes


def main() -> None:
    try:
        from application import run

        run(*crashes.began())
    except Exception as error:
        crashes.crash(error)


if __name__ == "__main__":
    main()
