export TAR_OPTIONS="--mtime=@1500000000 --sort=name --owner=0 --group=0 --numeric-owner"
touch .wh.x && tar -cf a.tar .wh.x && rm .wh.x