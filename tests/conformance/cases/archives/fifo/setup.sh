export TAR_OPTIONS="--mtime=@1500000000 --sort=name --owner=0 --group=0 --numeric-owner"
mkfifo p && tar -cf a.tar p && rm p